from torch.nn.parallel.scatter_gather import *
