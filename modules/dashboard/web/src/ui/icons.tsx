// Line icons on a grid of 16, in the colour of the text.
import type { ComponentChildren } from "preact";

const Icon = ({ children }: { children: ComponentChildren }) => (
  <svg class="icon" viewBox="0 0 16 16" width="16" height="16" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
    {children}
  </svg>
);

export const RefreshIcon = () => <Icon><path d="M13 5.5A5.5 5.5 0 1 0 13.5 8M13.3 2.5v3h-3" /></Icon>;
export const EnlargeIcon = () => <Icon><path d="M9.5 2.5h4v4M6.5 13.5h-4v-4M13.5 2.5l-4.5 4.5M2.5 13.5l4.5-4.5" /></Icon>;
export const ShrinkIcon = () => <Icon><path d="M13 7H9V3M3 9h4v4M9 7l4.5-4.5M7 9l-4.5 4.5" /></Icon>;
export const SunIcon = () => <Icon><circle cx="8" cy="8" r="2.8" /><path d="M8 1.5v1.3M8 13.2v1.3M1.5 8h1.3M13.2 8h1.3M3.4 3.4l.9.9M11.7 11.7l.9.9M3.4 12.6l.9-.9M11.7 4.3l.9-.9" /></Icon>;
export const MoonIcon = () => <Icon><path d="M13.2 9.6A5.6 5.6 0 0 1 6.4 2.8a5.6 5.6 0 1 0 6.8 6.8Z" /></Icon>;
export const UserIcon = () => <Icon><circle cx="8" cy="5.5" r="2.6" /><path d="M2.8 13.5c.8-2.4 2.8-3.6 5.2-3.6s4.4 1.2 5.2 3.6" /></Icon>;
export const ExploreIcon = () => <Icon><path d="M2 13.5h12M2.5 10.5l3.2-4 2.8 2.5L13.5 3" /></Icon>;
export const CheckIcon = () => (
  <svg viewBox="0 0 12 12" width="12" height="12" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d="M2.5 6.3 5 8.8l4.5-5.3" /></svg>
);

export const Mark = () => (
  <svg class="mark" viewBox="0 0 18 18" width="18" height="18" aria-hidden="true">
    <rect width="18" height="18" rx="4" fill="var(--accent)" />
    <path d="M4 11.5 14 7" stroke="var(--accent-ink)" stroke-width="2" stroke-linecap="round" />
  </svg>
);
