"""Stage 1's objectives: what the encoder is trained on."""
