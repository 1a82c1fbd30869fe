/**
 * Owns how a fault in a file is said (rule C1).
 *
 *   Fault of an object + its place -> ManifestFault -> `file:line:column: Service work/web: spec.ports[0].port: expected ...`
 */
import { printable } from '../objects/fault.js';

export interface ManifestFault {
  readonly file: string;
  /** From 1; 0 where the whole file is meant. */
  readonly line: number;
  readonly column: number;
  /** `Service work/web`; '' where it is not known which object. */
  readonly object: string;
  /** `spec.ports[0].port`; '' for the whole object. */
  readonly path: string;
  readonly message: string;
}

/** Every part is safe to print. */
export function faultText({ file, line, column, object, path, message }: ManifestFault): string {
  return [placeText(file, line, column), object, path, message].filter((part) => part !== '').join(': ');
}

export function placeText(file: string, line: number, column: number): string {
  return line === 0 ? printable(file) : `${printable(file)}:${line}:${column}`;
}
