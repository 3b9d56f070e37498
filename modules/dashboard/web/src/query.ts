// What a page is asked to show, in the query of its address.
import { computed } from "@preact/signals";
import { go, place } from "./router";
import { changed } from "./text";

/** The query of the address bar. */
export const params = computed(() => new URLSearchParams(place.value.search));

/** One value of it, or def. */
export const param = (key: string, def = ""): string => params.value.get(key) ?? def;

/** Changes values of the query. With replace the back button does not return here. */
export function ask(change: Readonly<Record<string, string>>, replace = false): void {
  const at = place.peek();
  go(at.path + changed(at.search, change), replace);
}

/** The address of this page with change in its query. */
export const hrefWith = (change: Readonly<Record<string, string>>): string => place.value.path + changed(place.value.search, change);
