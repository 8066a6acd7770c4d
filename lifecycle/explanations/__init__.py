"""What a model goes by as a whole: which columns its ranking needs, and rules that come close to it. Offline; single answers are
explained by serving.explanations."""
