import { softmax } from "onepass";

console.log(JSON.stringify([...softmax(Float32Array.of(1, 2, 3)).data]));
