"""Is it the rule or its knobs? SAGO, PCGrad and MinNorm against a weighted sum that is tuned as well."""
