/** Owns the numbers of the outcomes: places in `OUTCOMES`, and columns of a listener's counts. */
import { OUTCOMES, type Outcome } from '../engine.js';

export const CLOSED = number('closed');
export const CLIENT_RESET = number('client-reset');
export const BACKEND_RESET = number('backend-reset');
export const DIAL_FAILED = number('dial-failed');
export const CLIENT_ABORTED = number('client-aborted');
export const REFUSED = number('refused');
export const HALF_CLOSE_TIMEOUT = number('half-close-timeout');
export const IDLE_TIMEOUT = number('idle-timeout');
export const DRAINED = number('drained');

function number(outcome: Outcome): number {
  return OUTCOMES.indexOf(outcome);
}
