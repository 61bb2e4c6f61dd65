"""What relying parties fetch: CRLs and CA certificates."""
