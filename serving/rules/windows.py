"""The log sources of Windows events: SIGMA's taxonomy as data. logsources reads it; a site's additions are in its rules.yaml.

Source of the categories: SIGMA's taxonomy appendix (github.com/SigmaHQ/sigma-specification) and Sysmon's event ids."""

from collections.abc import Mapping
from typing import Final

SYSMON: Final = "Microsoft-Windows-Sysmon/Operational"
SECURITY: Final = "Security"
POWERSHELL: Final = ("Microsoft-Windows-PowerShell/Operational", "PowerShellCore/Operational")
CLASSIC_POWERSHELL: Final = "Windows PowerShell"

SERVICES: Final[Mapping[str, tuple[str, ...]]] = {
    "application": ("Application",),
    "application-experience": (
        "Microsoft-Windows-Application-Experience/Program-Telemetry",
        "Microsoft-Windows-Application-Experience/Program-Compatibility-Assistant",
    ),
    "applocker": (
        "Microsoft-Windows-AppLocker/MSI and Script",
        "Microsoft-Windows-AppLocker/EXE and DLL",
        "Microsoft-Windows-AppLocker/Packaged app-Deployment",
        "Microsoft-Windows-AppLocker/Packaged app-Execution",
    ),
    "appmodel-runtime": ("Microsoft-Windows-AppModel-Runtime/Admin",),
    "appxdeployment-server": ("Microsoft-Windows-AppXDeploymentServer/Operational",),
    "appxpackaging-om": ("Microsoft-Windows-AppxPackaging/Operational",),
    "bitlocker": ("Microsoft-Windows-BitLocker/BitLocker Management",),
    "bits-client": ("Microsoft-Windows-Bits-Client/Operational",),
    "capi2": ("Microsoft-Windows-CAPI2/Operational",),
    "certificateservicesclient-lifecycle-system": ("Microsoft-Windows-CertificateServicesClient-Lifecycle-System/Operational",),
    "codeintegrity-operational": ("Microsoft-Windows-CodeIntegrity/Operational",),
    "dhcp": ("Microsoft-Windows-DHCP-Server/Operational",),
    "diagnosis-scripted": ("Microsoft-Windows-Diagnosis-Scripted/Operational",),
    "dns-client": ("Microsoft-Windows-DNS Client Events/Operational",),
    "dns-server": ("DNS Server",),
    "dns-server-analytic": ("Microsoft-Windows-DNS-Server/Analytical",),
    "dns-server-audit": ("Microsoft-Windows-DNS-Server/Audit",),
    "driver-framework": ("Microsoft-Windows-DriverFrameworks-UserMode/Operational",),
    "firewall-as": ("Microsoft-Windows-Windows Firewall With Advanced Security/Firewall",),
    "hyper-v-worker": ("Microsoft-Windows-Hyper-V-Worker", "Microsoft-Windows-Hyper-V-Worker-Admin"),
    "iis-configuration": ("Microsoft-IIS-Configuration/Operational",),
    "kernel-event-tracing": ("Microsoft-Windows-Kernel-EventTracing", "Microsoft-Windows-Kernel-EventTracing/Admin"),
    "kernel-shimengine": (
        "Microsoft-Windows-Kernel-ShimEngine/Operational",
        "Microsoft-Windows-Kernel-ShimEngine/Diagnostic",
    ),
    "ldap": ("Microsoft-Windows-LDAP-Client/Debug",),
    "ldap_debug": ("Microsoft-Windows-LDAP-Client/Debug",),
    "lsa-server": ("Microsoft-Windows-LSA/Operational",),
    "microsoft-servicebus-client": ("Microsoft-ServiceBus-Client/Operational", "Microsoft-ServiceBus-Client/Admin"),
    "msexchange-management": ("MSExchange Management",),
    "ntfs": ("Microsoft-Windows-Ntfs/Operational",),
    "ntlm": ("Microsoft-Windows-NTLM/Operational",),
    "openssh": ("OpenSSH/Operational",),
    "powershell": POWERSHELL,
    "powershell-classic": (CLASSIC_POWERSHELL,),
    "printservice-admin": ("Microsoft-Windows-PrintService/Admin",),
    "printservice-operational": ("Microsoft-Windows-PrintService/Operational",),
    "security": (SECURITY,),
    "security-mitigations": (
        "Microsoft-Windows-Security-Mitigations/Kernel Mode",
        "Microsoft-Windows-Security-Mitigations/User Mode",
        "Microsoft-Windows-Security-Mitigations/KernelMode",
        "Microsoft-Windows-Security-Mitigations/UserMode",
    ),
    "sense": ("Microsoft-Windows-SENSE/Operational",),
    "servicebus-client": ("Microsoft-ServiceBus-Client/Operational", "Microsoft-ServiceBus-Client/Admin"),
    "shell-core": ("Microsoft-Windows-Shell-Core/Operational",),
    "smbclient-connectivity": ("Microsoft-Windows-SmbClient/Connectivity",),
    "smbclient-security": ("Microsoft-Windows-SmbClient/Security",),
    "sysmon": (SYSMON,),
    "system": ("System",),
    "taskscheduler": ("Microsoft-Windows-TaskScheduler/Operational",),
    "terminalservices-localsessionmanager": ("Microsoft-Windows-TerminalServices-LocalSessionManager/Operational",),
    "vhdmp": ("Microsoft-Windows-VHDMP/Operational",),
    "windefend": ("Microsoft-Windows-Windows Defender/Operational",),
    "wmi": ("Microsoft-Windows-WMI-Activity/Operational",),
}
"""Service -> the channels it is."""

CATEGORIES: Final[tuple[tuple[tuple[str, ...], tuple[int, ...], tuple[str, ...]], ...]] = (
    ((SYSMON,), (1,), ("process_creation",)),
    ((SYSMON,), (2,), ("file_change",)),
    ((SYSMON,), (3,), ("network_connection",)),
    ((SYSMON,), (4, 16), ("sysmon_status",)),
    ((SYSMON,), (5,), ("process_termination",)),
    ((SYSMON,), (6,), ("driver_load",)),
    ((SYSMON,), (7,), ("image_load",)),
    ((SYSMON,), (8,), ("create_remote_thread",)),
    ((SYSMON,), (9,), ("raw_access_thread",)),
    ((SYSMON,), (10,), ("process_access",)),
    ((SYSMON,), (11,), ("file_event",)),
    ((SYSMON,), (12,), ("registry_event",)),
    ((SYSMON,), (13,), ("registry_set", "registry_event")),
    ((SYSMON,), (14,), ("registry_rename", "registry_event")),
    ((SYSMON,), (15,), ("create_stream_hash",)),
    ((SYSMON,), (17, 18), ("pipe_created",)),
    ((SYSMON,), (19, 20, 21), ("wmi_event",)),
    ((SYSMON,), (22,), ("dns_query",)),
    ((SYSMON,), (23, 26), ("file_delete",)),
    ((SYSMON,), (24,), ("clipboard_capture",)),
    ((SYSMON,), (25,), ("process_tampering",)),
    ((SYSMON,), (27,), ("file_block_executable",)),
    ((SYSMON,), (28,), ("file_block_shredding",)),
    ((SYSMON,), (29,), ("file_executable_detected",)),
    ((SYSMON,), (255,), ("sysmon_error",)),
    (POWERSHELL, (4103,), ("ps_module",)),
    (POWERSHELL, (4104,), ("ps_script",)),
    ((CLASSIC_POWERSHELL,), (400,), ("ps_classic_start",)),
    ((CLASSIC_POWERSHELL,), (600,), ("ps_classic_provider_start",)),
    ((CLASSIC_POWERSHELL,), (800,), ("ps_classic_script",)),
)
"""Channels, event ids, the categories of such an event."""

REGISTRY_KEYS: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (("CreateKey", "AddKey"), "registry_add"),
    (("DeleteKey", "DeleteValue"), "registry_delete"),
)
"""Sysmon's event 12 is one of two by its EventType."""

AUDITED: Final[tuple[tuple[int, tuple[str, ...], Mapping[str, str]], ...]] = (
    (
        4688,
        ("process_creation",),
        {
            "Image": "NewProcessName",
            "ParentImage": "ParentProcessName",
            "ProcessId": "NewProcessId",
            "User": "SubjectUserName",
            "LogonId": "SubjectLogonId",
            "IntegrityLevel": "MandatoryLabel",
        },
    ),
    (4689, ("process_termination",), {"Image": "ProcessName"}),
    (4657, ("registry_set", "registry_event"), {"TargetObject": "ObjectName", "Details": "NewValue", "Image": "ProcessName"}),
)
"""Of the Security channel: event id, categories, and the taxonomy's field -> the one that holds it there. The original stays."""
