"""Predictions over HTTP and live: requests that are predicted in batches, clips that grow while they are recorded."""
