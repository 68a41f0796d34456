"""What a text must be: automata, grammars, JSON schemas, and the tokens that keep to them."""
