"""From a conversation to the text that a model was trained to answer.

A template comes with the weights, so it is a stranger's program: it runs in Jinja's sandbox,
which lets it see the messages and nothing else.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from orrery.errors import OrreryError

Message = Mapping[str, str]
"""`role` (system, user or assistant) and `content`."""


class ChatTemplate:
    """A template as published models have it."""

    def __init__(self, source: str) -> None:
        """Compile a template.

        Raises:
            OrreryError: it is not Jinja.
        """
        self.source = source
        room = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        room.globals = {"raise_exception": _refuse, "range": room.globals["range"]}
        try:
            self._template = room.from_string(source)
        except TemplateError as error:
            raise OrreryError(f"the chat template is refused: {error}") from None

    def render(self, messages: Sequence[Message], *, answer: bool = True, **known: Any) -> str:
        """The text of a conversation.

        Args:
            messages: in their order.
            answer: end where the model's answer begins.
            known: other names that the template may ask for, such as bos_token.

        Raises:
            OrreryError: the template refuses the messages.
        """
        try:
            return self._template.render(
                messages=list(messages), add_generation_prompt=answer, **known
            )
        except (TemplateError, TypeError, ValueError, OverflowError) as error:
            raise OrreryError(f"the chat template refuses the messages: {error}") from None


def _refuse(reason: str) -> None:
    raise TemplateError(reason)
