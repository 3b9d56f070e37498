// The view of the moment, and the ways to change it. All of them go through the URL.
import { computed } from "@preact/signals";
import { go, place } from "../router";
import { formatView, parseView, type View } from "./view";

export const path = "/explore";

/** The view that the address bar holds. */
export const view = computed<View>(() => parseView(place.value.path === path ? place.value.search : ""));

/** Changes part of the view. With replace the back button does not return here. */
export function show(change: Partial<View>, replace = false): void {
  go(path + formatView({ ...view.peek(), ...change }), replace);
}

/** The address of a view that differs from this one by change. */
export const hrefOf = (change: Partial<View>): string => path + formatView({ ...view.value, ...change });
