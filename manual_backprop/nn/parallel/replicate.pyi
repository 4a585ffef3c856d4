from torch.nn.parallel.replicate import *
