"""A plan carried out in discrete events: arrivals, replicas, faults. Seeded and repeatable; the one user of simpy."""
