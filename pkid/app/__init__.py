"""Wires everything: options, configuration, services, control socket, command line."""
