"""A server of language models that speaks OpenAI's protocol; needs the extra `serve`."""
