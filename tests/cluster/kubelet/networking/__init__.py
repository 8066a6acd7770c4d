"""The pods' network: a bridge, Services, names."""
