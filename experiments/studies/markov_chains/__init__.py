"""A mixture of three Markov chains of which two are to be forgotten: own data, an own model and an own metric."""

from experiments.studies.markov_chains.data_module import MarkovChainsDataModule
from experiments.studies.markov_chains.kl_path import KLPath
from experiments.studies.markov_chains.model import MarkovTransformer, load_model, new_model
from experiments.studies.markov_chains.transition_kl import TransitionKL

__all__ = ["KLPath", "MarkovChainsDataModule", "MarkovTransformer", "TransitionKL", "load_model", "new_model"]
