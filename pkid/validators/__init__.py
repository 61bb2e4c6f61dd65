"""Outbound checks: services elsewhere that know whether a request is to be granted."""
