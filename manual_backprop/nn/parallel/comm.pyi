from torch.nn.parallel.comm import *
