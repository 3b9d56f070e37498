// The language of the search fields, and how the api takes it.

/**
 * What a person types, as the api's patterns: blanks mean AND, -x and !x exclude,
 * a|b is either (a lone "|" joins its neighbours). Every word is a regular
 * expression. An empty text matches everything.
 */
export function toQuery(text: string): string {
  const words = text.trim().replace(/\s*\|\s*/g, "|").split(/\s+/).filter((w) => w !== "");
  const query = words
    .map((w) => (/^[-!]./.test(w) ? "!" + w.slice(1) : w))
    .filter((w) => w !== "-" && w !== "!" && w !== "|")
    .map((w) => w.replace(/^\|+|\|+$/g, ""))
    .filter((w) => w !== "" && w !== "!");
  return query.length === 0 ? "." : query.join(" ");
}

/** The names in a pasted list, one a line or with commas or blanks; [] when it is no list. */
export function pastedNames(text: string): string[] {
  if (!/[\n,;]/.test(text.trim())) return [];
  return [...new Set(text.split(/[\s,;]+/).filter((s) => s !== ""))];
}
