from torch.nn.utils.parametrizations import *
