// A thermal zone whose temperature a guest sets: degrees above 27 °C, in a byte of the host bridge's configuration
// space that nobody uses (0000:00:00.0, offset 0xf0; QEMU's q35 has that space at 0xb0000000).
DefinitionBlock ("", "SSDT", 2, "GUEST", "THERMAL", 1)
{
    OperationRegion (\KNOB, SystemMemory, 0xB00000F0, 1)
    Field (\KNOB, ByteAcc, NoLock, Preserve) { HEAT, 8 }
    Scope (\_TZ)
    {
        ThermalZone (TZ00)
        {
            // Tenths of a kelvin; looked at every 10 tenths of a second.
            Method (_TMP, 0, Serialized) { Return (Add (3000, Multiply (HEAT, 10))) }
            Method (_HOT, 0) { Return (3650) }
            Method (_CRT, 0) { Return (4000) }
            Name (_TZP, 10)
        }
    }
}
