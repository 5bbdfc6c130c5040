"""The stages of training, one readable loop each: encoder, predictor, energy."""
