from torch.nn.parallel.parallel_apply import *
