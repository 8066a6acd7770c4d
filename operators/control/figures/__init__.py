"""What the replicas of a control plane do now: requests, latency, feature age, refusals, breakers, records.

`vedette top` and the page *Service* of the console show it."""
