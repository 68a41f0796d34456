"""`orrery resume [RUN]`: go on with an interrupted run, from its last checkpoint."""

from orrery.cli.parser import Parser
from orrery.cli.run import add_execution, execute
from orrery.lab.folder import find_run, newest_interrupted

EXAMPLES = ("orrery resume", "orrery resume residual_depth-20260101-120000-ab12")


def main(argv: list[str]) -> int:
    """Resume; returns 0, or 3 where a claim fails under --strict."""
    parser = Parser("resume", "Go on with an interrupted run, exactly where it stood.", EXAMPLES)
    parser.add_argument("run", nargs="?", metavar="RUN", help="default: the newest interrupted one")
    add_execution(parser)
    chosen = parser.parse_args(argv)

    return execute(lambda: find_run(chosen.run) if chosen.run else newest_interrupted(), chosen)
