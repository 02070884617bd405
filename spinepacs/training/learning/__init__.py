"""From films to a checkpoint: initial weights, network and loss, the training loop, the recipes.

May import: ``training.data``. Begin with ``train.py``; ``recipes.py`` is the command.
"""
