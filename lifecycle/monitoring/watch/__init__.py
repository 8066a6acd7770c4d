"""The monitor: follows what models answer, keeps the evidence between looks and raises alarms. Pure cores, and their shell."""
