"""Which rows suffice: source data for transfer, retain subsets and forget coresets."""
