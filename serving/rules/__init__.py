"""Rules that answer when the model cannot: SIGMA rules over events, threshold rules (CEL) over columns.

Pure core: rules and events come in as text and values, matches go out. Reading them from a bundle is serving.models'; when they
answer in the model's place is serving.scoring.scorer's."""
