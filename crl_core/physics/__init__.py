"""Signal equations, tissue properties, feasibility of a protocol, and digital subjects."""
