"""Pure computation on keys and octets: signatures, MACs, possession, chains, TBS."""
