// Linear layers and matrix products.
export { linear_f32 } from "../kernels/linear";
