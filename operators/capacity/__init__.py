"""What a number of events a day takes: a plan from measured figures, and a simulation that carries the plan out."""
