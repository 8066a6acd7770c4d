"""SIGMA correlation rules over several events, evaluated in event time, on state that is bounded and can be stored. Pure.

`parse` reads them, `resolve` finds the rules that they refer to, `engine` takes events and gives hits, `state` makes what
it remembers bytes. Source: Sigma Correlation Rules Specification 2.1.0 (github.com/SigmaHQ/sigma-specification);
docs/reference/correlations.md says what is decided where it leaves a choice."""
