"""How good an encoder is: attacks, heads, what was measured and reasons to doubt it.

Rooms: victim (the attacked model), attacks, heads, reports. Imports zoo/.

Words, each with one meaning:

- evaluate: run attacks on images, verdict by verdict; rows of accuracies or of vectors' moves.
- assess: evaluate any classifier in memory and look for doubts, as `cfamc_zoo.attack` does.
- measure: the same of a release, as `cfamc-zoo attack` does: with settings, state, table, files.
- score: ask a model for logits alone, for an attack that looks at no gradients.
- data: images with labels and classes: as they are read, uint8 (`LabelledImages`), or as a network
  takes them, on its device (`Examples`).
- threat: a norm and one radius. Run: the draws, the batches, what is kept and who is told.
- ledger: what was found so far, in stages: one attack at one radius. State: a ledger in the file
  that `--state` names.
- push, pull: move an image so that its vector leaves its own place, or nears another image's;
  results have these words, which beside the Hub mean something else.
"""
