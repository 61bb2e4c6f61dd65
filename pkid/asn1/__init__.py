"""DER as a cursor and a writer, object identifiers, names: pure, knows no protocol."""
