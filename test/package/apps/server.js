// The server's half of a page that both sides render, as in Next.js: imported by the server, called for each request.
import { attention, softmax } from "onepass";

/** Small results as text: the server's and the client's have to be the same characters. */
export function render() {
  const p = softmax(Float32Array.of(1, 2, 3, 4)).data;
  const tensor = { data: Float32Array.of(1, 0, 0, 1), shape: [2, 2] };
  const o = attention(tensor, tensor, tensor, { causal: true }).data;
  return [...p, ...o].map((value) => value.toFixed(4)).join(" ");
}
