"""Where public files go besides the served directory."""
