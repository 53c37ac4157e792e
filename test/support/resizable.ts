/** A buffer that can be resized, which this project's TypeScript library does not know yet. */
export type ResizableBuffer = ArrayBuffer & { resize(bytes: number): void };

/** A buffer that can be made smaller. */
export function resizableBuffer(bytes: number): ResizableBuffer {
  return new (ArrayBuffer as unknown as new (bytes: number, options?: { readonly maxByteLength: number }) => ResizableBuffer)(bytes, { maxByteLength: bytes });
}
