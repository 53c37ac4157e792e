/** A member of a uniform block: one 32-bit number, or an array, whose elements must be multiples of 16 bytes in WGSL. */
export type FieldType = "u32" | "i32" | "f32" | { readonly array: "vec4<u32>" | "vec4<i32>" | "vec4<f32>"; readonly length: number };

/** Values of a block: one number for each scalar, up to 4 · length numbers (then zeros) for each array. */
export type FieldValues<F extends Record<string, FieldType>> = {
  readonly [K in keyof F]: F[K] extends string ? number : readonly number[];
};

/** A uniform block: its WGSL and the function that fills it, both from one list of fields. */
export interface UniformBlock<F extends Record<string, FieldType>> {
  readonly name: string;
  /** `struct Name { … }` */
  readonly wgsl: string;
  readonly byteLength: number;
  pack(values: FieldValues<F>): ArrayBuffer;
}

/**
 * Makes a uniform block from its fields, in the given order, by the layout rules of WGSL's uniform address space: scalars at multiples of 4
 * bytes, arrays of vec4 at multiples of 16, the whole a multiple of 16.
 */
export function uniformBlock<const F extends Record<string, FieldType>>(name: string, fields: F): UniformBlock<F> {
  const members: { key: string; kind: "u32" | "i32" | "f32"; at: number; count: number }[] = [];
  let wgsl = `struct ${name} {\n`;
  let at = 0;
  for (const [key, type] of Object.entries(fields)) {
    if (typeof type === "string") {
      members.push({ key, kind: type, at, count: 0 });
      wgsl += `  ${key}: ${type},\n`;
      at += 4;
    } else {
      at = Math.ceil(at / 16) * 16;
      members.push({ key, kind: type.array.slice(5, 8) as "u32", at, count: type.length * 4 });
      wgsl += `  ${key}: array<${type.array}, ${type.length}>,\n`;
      at += type.length * 16;
    }
  }
  const byteLength = Math.ceil(at / 16) * 16;
  return {
    name,
    wgsl: `${wgsl}}\n`,
    byteLength,
    pack(values) {
      const block = new ArrayBuffer(byteLength);
      const views = { u32: new Uint32Array(block), i32: new Int32Array(block), f32: new Float32Array(block) };
      for (const { key, kind, at, count } of members) {
        const value = (values as Record<string, number | readonly number[]>)[key];
        const numbers = typeof value === "number" ? [value] : (value ?? []);
        if (numbers.length > (count || 1)) throw new RangeError(`uniform "${name}.${key}" holds ${count} numbers, got ${numbers.length}`);
        numbers.forEach((number, i) => {
          views[kind][at / 4 + i] = number;
          // A size beyond 32 bits would wrap silently and address the wrong element.
          if (kind !== "f32" && views[kind][at / 4 + i] !== number) throw new RangeError(`uniform "${name}.${key}" expected ${kind}, got ${number}`);
        });
      }
      return block;
    },
  };
}
