"""The store of decisions: what was judged, stored and attempted, for whoever asks why later."""
