"""Terms of the reward, a file each: the experiment file names one by its file, ``reward: {terms: {cvar: 0.1}}``.

More is better: what a term penalises makes it negative. Columns M: an asset's on its sleeve, the portfolio's last.
"""
