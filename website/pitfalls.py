"""When a method fails: from its formula, its paper's code, or the studies of experiments/README.md."""

PITFALLS = {
    "FineTuning": "It does not unlearn: it makes the models that unlearning starts from and is compared with.",
    "GradAscent": "The loss is unbounded and nothing holds the retain set, so long runs collapse the model. In the "
    "study it keeps its utility only where it has hardly forgotten.",
    "GradDiff": "The forget loss is unbounded: with a large rate or many steps it outweighs the retain loss. "
    "OpenUnlearning's run on TOFU's forget10, which is not tuned, ends far from the retrained model (forget quality "
    "1e-239). Goals stop it in time.",
    "KLMin": "The forget loss is unbounded, as in gradient ascent, and KL alone holds the retain set for some seeds "
    "only: in the study the utility that is kept varies most among the methods that have something to hold it, but "
    "for KTO.",
    "NPO": "Log-probabilities are summed over the answer, so where answers are long, weight 1 drowns the retain "
    "loss. Beta, the rate and the weights have to be found for every model; with goals there is less to find.",
    "SimNPO": "Results depend strongly on beta, and on the forget weight times the rate. The settings for TOFU do "
    "not carry over to other models. On forget10, OpenUnlearning reports a forget quality of 1e-198 where the paper "
    "has .45.",
    "IdkNLL": "It teaches refusals and does not lower the forget answers directly: in the study .31 of their "
    "probability is left. It needs a refusal for every forget question.",
    "IdkDPO": "It needs a refusal for every forget question. OpenUnlearning's run on TOFU's forget10, which is not "
    "tuned, loses most of the model utility (.23 of .60).",
    "AltPO": "You have to generate the alternate answers with the reference model first; without them there is "
    "nothing to train on. It is not in the study.",
    "KTO": "It holds for some seeds only: in the study the utility that is kept varies more than for any other method.",
    "RMU": "It steers the hidden states of one layer, so layer and coefficient have to be found for every model. In "
    "the study the retain answers fall to .61; nothing here says what other layers still know.",
    "TunedLens": "Lenses have to be trained first, and a layer that is left out keeps what it says. In the study .80 "
    "of the forget answers come back under relearning; the authors say of theirs that it does not withstand training.",
    "UNDIAL": "It has no retain loss by default and keeps about half of the utility in the study; `retain_weight` "
    "adds one.",
    "WGA": "It ends well, but how much comes back under relearning depends on the seed: .01, .55 and .64 in the study.",
    "SatImp": "It ends among the best in the study at a rate that has to be found; .69 of the forget answers come "
    "back under relearning.",
    "CEU": "It has no retain loss: in the study .40 of the forget probability is left at the rate that ends best.",
    "MaxEntropy": "It ends among the best in the study at a rate that has to be found; .73 of the forget answers "
    "come back under relearning.",
    "FLAT": "It has no retain loss, and hardly moves at any rate that keeps the utility: .87 of the forget "
    "probability is left in the study.",
    "RAUL": "It ends among the best in the study, and .85 of the forget answers come back under relearning. The "
    "paper is about classifiers.",
    "PDU": "The budget must be above the retain loss of the original model, or the multiplier never rests. .87 of "
    "the forget answers come back under relearning.",
    "JensUn": "It needs a refusal for every forget question. In the study it is best at the largest rate that was "
    "tried, with .43 of the forget probability left.",
    "MOLLM": "Without goals, only the threshold of the forget loss says where to stop, and the end depends on the "
    "seed (a forget probability of .20 ± .37 in the study, against .07 with goals). It takes three backward passes, "
    "and .73 to .81 of the forget answers come back under relearning.",
    "ESD": "It has no retain loss: in the study of styles and objects it takes the digits with the style.",
    "SalUn": "The name is cut off from the style, which another vector finds: under textual inversion, every image "
    "of the study shows it again. Without the mask that `unlearn-pl attribute` writes, it trains all weights.",
    "EraseDiff": "It was not studied here. The paper's bilevel problem is read as two objectives, so its numbers do "
    "not carry over.",
}
"""Class of a method to what goes wrong with it, in a sentence or three."""
