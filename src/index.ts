export { empty, type ModuleTensor } from "./empty.ts";
export { BackendError, DisposedError, UnsupportedError } from "./errors.ts";
export { logSoftmax, type LogSoftmaxOptions } from "./log-softmax.ts";
export { logSumExp, type LogSumExpOptions } from "./log-sum-exp.ts";
export { OnlineSoftmax, type NormalizeOptions } from "./online-softmax.ts";
export { softmax, type MaskLike, type SoftmaxAlgorithm, type SoftmaxOptions } from "./softmax.ts";
export { tensor, type DType, type DTypeData, type DTypeOf, type FloatArray, type Tensor, type TensorLike } from "./tensor.ts";
