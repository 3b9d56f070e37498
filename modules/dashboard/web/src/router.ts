// The address bar is the state: a view is a path and a query, nothing else.
import { signal } from "@preact/signals";

export interface Place {
  path: string;
  search: string; // with its "?" or empty
}

const here = (): Place => ({ path: location.pathname, search: location.search });

/** Where the page is; changes with every navigation, back and forward included. */
export const place = signal<Place>(here());

/** Starts to follow the browser's back and forward buttons. */
export function followHistory(): void {
  addEventListener("popstate", () => {
    place.value = here();
  });
}

/** Goes to href. With replace the back button does not stop at where we are. */
export function go(href: string, replace = false): void {
  if (href === location.pathname + location.search) return;
  if (replace) history.replaceState(null, "", href);
  else history.pushState(null, "", href);
  place.value = here();
}
