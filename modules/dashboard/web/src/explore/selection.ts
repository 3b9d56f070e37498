// Choosing in a list: click, Ctrl and Shift, as file managers do it. Pure: the list
// and the choice in, the choice out. What is chosen may lie outside the list, when
// the search has changed since; such names stay until they are cleared.

export interface Choice {
  /** In the order in which they were chosen. */
  names: readonly string[];
  /** Where a range begins. */
  anchor: string | null;
}

export interface Keys {
  shift?: boolean;
  /** Ctrl, or Command on a Mac. */
  ctrl?: boolean;
}

export const nothing: Choice = { names: [], anchor: null };

/** A click on name: only it; with Ctrl one more or less; with Shift a range. */
export function click(list: readonly string[], c: Choice, name: string, keys: Keys): Choice {
  if (keys.shift) return range(list, c, name, keys.ctrl ?? false);
  if (keys.ctrl) return toggle(c, name);
  return { names: [name], anchor: name };
}

/** One more or one less. */
export function toggle(c: Choice, name: string): Choice {
  const names = c.names.includes(name) ? c.names.filter((n) => n !== name) : [...c.names, name];
  return { names, anchor: name };
}

/** From the anchor to name, in the order of the list; keep adds to what is chosen. */
export function range(list: readonly string[], c: Choice, name: string, keep: boolean): Choice {
  const to = list.indexOf(name);
  const from = c.anchor === null ? -1 : list.indexOf(c.anchor);
  if (to < 0) return c;
  if (from < 0) return { names: keep ? union(c.names, [name]) : [name], anchor: name };
  const between = list.slice(Math.min(from, to), Math.max(from, to) + 1);
  return { names: keep ? union(c.names, between) : between, anchor: c.anchor };
}

/** Everything in the list as well. */
export const all = (list: readonly string[], c: Choice): Choice => ({ names: union(c.names, list), anchor: c.anchor });

function union(a: readonly string[], b: readonly string[]): string[] {
  return [...new Set([...a, ...b])];
}
