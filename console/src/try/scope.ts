/**
 * What the SDK's build looks for around it. Import it before the SDK.
 *
 * It calls its surroundings `window`, which workers call `self`; and where it has no name for them it makes code of the
 * string "return this", which this page's policy rightly forbids. It is answered without.
 */

const scope = globalThis as unknown as Record<string, unknown>;
scope["window"] ??= globalThis;

function answer(code: unknown[], otherwise: () => object): object {
  return code.length === 1 && code[0] === "return this" ? () => globalThis : otherwise();
}

scope["Function"] = new Proxy(Function, {
  apply: (target, self, code) => answer(code, () => Reflect.apply(target, self, code) as object),
  construct: (target, code) => answer(code, () => Reflect.construct(target, code) as object),
});

export {};
