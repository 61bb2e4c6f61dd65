"""Protocol semantics: an Exchange in, a Reply out."""
